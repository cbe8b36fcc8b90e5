// Signing in through an external provider. The page makes a verifier (PKCE, RFC 7636), which never
// leaves this tab but for the service: with it alone the code that comes back is worth anything.

const KEPT = "external sign-in";

// The providers that the service has: [{name, title}].
export async function listProviders(api) {
  return (await api.get("/auth/external")).providers;
}

// Leave the page for the provider's, which sends the person back to it, to the view of now.
export async function leaveFor(api, { name, title }) {
  const verifier = base64url(crypto.getRandomValues(new Uint8Array(32)));
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  const body = {
    return_to: location.origin + location.pathname,
    code_challenge: base64url(new Uint8Array(digest)),
  };
  const answer = await api.request("POST", `/auth/external/${name}`, { body });
  sessionStorage.setItem(KEPT, JSON.stringify({ title, verifier, hash: location.hash }));
  location.assign(answer.authorization_url);
}

// What the person came back with: {title, proof}, with {code, code_verifier} for the service; null
// when nobody came back. Throws where the sign-in failed, or was begun by somebody else.
export function takeReturn() {
  const url = new URL(location.href);
  const [code, error] = ["code", "error"].map((name) => url.searchParams.get(name));
  if (code === null && error === null) return null;
  const kept = JSON.parse(sessionStorage.getItem(KEPT));
  sessionStorage.removeItem(KEPT);
  history.replaceState(null, "", location.pathname + (kept?.hash ?? ""));
  // A link that somebody else made has a code of their own account, and this tab no verifier for it.
  if (!kept) throw new Error("This sign-in was not begun in this tab, or has been finished before. Begin again.");
  if (error === "access_denied") throw new Error(`You did not agree at ${kept.title}, so nothing was done.`);
  if (error !== null) throw new Error(`${kept.title} refused the sign-in. Try again, or sign in in another way.`);
  return { title: kept.title, proof: { code, code_verifier: kept.verifier } };
}

// Why the service did not take a code, in words for people; null where others say it.
export function explainExchange(error, title) {
  if (error.status === 400) return "This sign-in is invalid, has been used or took too long. Begin again.";
  if (error.reason === "link_required") {
    return `There is an account with your email address already, which is not linked to ${title}. Sign in with its password.`;
  }
  if (error.reason === "provider_refused") return `${title} did not confirm who you are. Begin again.`;
  return null;
}

function base64url(bytes) {
  const text = btoa(String.fromCharCode(...bytes));
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
