// Signing in through an external provider. The page makes a verifier (PKCE, RFC 7636), which never
// leaves this tab but for the service: with it alone the code that comes back is worth anything.

const KEPT = "external sign-in";

// The providers that the service has: [{name, title}].
export async function listProviders(api) {
  try {
    return (await api.request("GET", "/auth/external")).body.providers;
  } catch (error) {
    if (error.status === 404) return [];
    throw error;
  }
}

// Fill an element with a button for each provider; `label` makes the text of its title.
export function showProviders(element, providers, label, begin) {
  const buttons = providers.map((provider) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: label(provider.title) });
    button.addEventListener("click", () => begin(provider, button));
    return button;
  });
  element.replaceChildren(...buttons);
  element.hidden = buttons.length === 0;
}

// Leave the page for the provider's, which sends the person back to it.
export async function leaveFor(api, { name, title }) {
  const verifier = base64url(crypto.getRandomValues(new Uint8Array(32)));
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  const return_to = `${location.origin}${location.pathname}?${new URLSearchParams({ api: api.origin })}`;
  const body = { return_to, code_challenge: base64url(new Uint8Array(digest)) };
  const answer = await api.request("POST", `/auth/external/${name}`, { body });
  sessionStorage.setItem(KEPT, JSON.stringify({ service: api.origin, title, verifier }));
  location.assign(answer.body.authorization_url);
}

// What the person came back with: {title, proof}, with {code, code_verifier} for the service; null
// when nobody came back. Throws where the sign-in failed, or was begun by somebody else.
export function takeReturn(api) {
  const url = new URL(location.href);
  const [code, error] = ["code", "error"].map((name) => url.searchParams.get(name));
  if (code === null && error === null) return null;
  const kept = JSON.parse(sessionStorage.getItem(KEPT));
  sessionStorage.removeItem(KEPT);
  for (const name of ["code", "error"]) url.searchParams.delete(name);
  history.replaceState(null, "", url);
  // A link that somebody else made has a code of their own account, and this tab no verifier for it.
  if (kept?.service !== api.origin) throw new ExternalError("not_begun");
  if (error !== null) throw new ExternalError(error, kept.title);
  return { title: kept.title, proof: { code, code_verifier: kept.verifier } };
}

const WORDS = {
  not_begun: () => "This sign-in was not begun in this tab, or has been finished before. Begin again.",
  access_denied: (title) => `You did not agree at ${title}, so nothing was done.`,
};

// A sign-in that ended before the service had anything to exchange.
export class ExternalError extends Error {
  constructor(reason, title) {
    super((WORDS[reason] ?? (() => `${title} refused the sign-in. Try again, or log in in another way.`))(title));
    this.reason = reason;
  }
}

// Why the service did not take a code, in words for people.
export function explainExchange(error, title) {
  if (error.status === 400) return "This sign-in is invalid, has been used or took too long. Begin again.";
  if (error.reason === "link_required") {
    return (
      `There is an account with your email address already. Log in to it as ever, then link ${title} ` +
      "on the page Security."
    );
  }
  if (error.reason === "provider_refused") return `${title} did not confirm who you are. Begin again.`;
  return null;
}

function base64url(bytes) {
  const text = btoa(String.fromCharCode(...bytes));
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
