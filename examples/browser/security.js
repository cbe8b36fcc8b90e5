// The page "Security": login sessions, the second factor, passkeys, linked sign-ins, and API keys.
// What the service shows once stands in the page alone, and goes when the page is left.

import { Api, serviceAddress } from "./api.js";
import { askForProof } from "./proof.js";
import { identitySection } from "./security-identities.js";
import { passkeySection } from "./security-passkeys.js";
import { explain, showTime } from "./words.js";

const METHODS = {
  password: "password",
  totp: "authenticator app",
  passkey: "passkey",
  security_key: "security key",
  recovery_code: "recovery code",
};
const SECRETS = ["#secret", "#code-list", "#key"];
const $ = (id) => document.getElementById(id);

const api = new Api(serviceAddress());

// ---- Messages

function say(text) {
  $("failure").textContent = "";
  $("message").textContent = text;
}

function complain(text) {
  $("message").textContent = "";
  $("failure").textContent = text;
}

// Do what the person asked for, and show why when it fails. A button that is pressed twice does it once.
async function attempt(work, button) {
  if (button?.getAttribute("aria-disabled") === "true") return;
  button?.setAttribute("aria-disabled", "true");
  try {
    say("");
    await work();
  } catch (error) {
    if (error.status === 401) showSignedOut();
    else complain(explain(error));
  } finally {
    button?.removeAttribute("aria-disabled");
  }
}

// Run `work` when `target` is clicked.
function onClick(target, work) {
  target.addEventListener("click", () => attempt(work, target));
}

function onSubmit(form, work) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(() => work(event.submitter), event.submitter);
  });
}

// ---- Step-up

// Send a request that needs a fresh session: where it is not, the person proves again who they are,
// and the request is sent once more. Returns null when the person gives up.
async function sendFresh(method, path, options) {
  try {
    return await api.request(method, path, options);
  } catch (error) {
    if (error.reason !== "step_up_required") throw error;
    const done = await askForProof({
      title: "Confirm that it is you",
      text: "Your login was some time ago, and this changes what protects your account.",
      methods: error.body.methods,
      send: (proof) => api.request("POST", "/auth/step-up", { body: proof }),
      passkeyOptions: async () => (await api.request("POST", "/auth/step-up/options")).body,
    });
    return done && api.request(method, path, options);
  }
}

// ---- Secrets

function show(panel, focused) {
  panel.hidden = false;
  focused.focus();
}

function forgetSecrets() {
  for (const selector of SECRETS) document.querySelector(selector).textContent = "";
  $("qr").removeAttribute("src");
  $("uri").removeAttribute("href");
  $("setup").reset();
  for (const id of ["setup", "codes", "made"]) $(id).hidden = true;
}

for (const button of document.querySelectorAll(".copy")) {
  onClick(button, async () => {
    await navigator.clipboard.writeText($(button.dataset.copy).textContent);
    say("Copied.");
  });
}

// A page that the browser keeps for the button "Back" would show them again.
addEventListener("pagehide", forgetSecrets);
addEventListener("pageshow", (event) => {
  if (event.persisted) attempt(reload);
});

// ---- Login sessions

function showSessions(sessions) {
  const rows = sessions.map((session) => {
    const row = document.createElement("li");
    const device = session.user_agent ?? "an unknown program";
    const methods = session.methods.map(nameMethod).join(" and ");
    row.append(
      Object.assign(document.createElement("span"), { className: "device", textContent: device }),
      ` from ${session.ip ?? "an unknown address"}, logged in ${showTime(session.created_at)} ` +
        `by ${methods}, last used ${showTime(session.last_used_at)} `,
    );
    if (session.current) {
      row.append(Object.assign(document.createElement("strong"), { textContent: "(this one)" }));
    } else {
      const button = Object.assign(document.createElement("button"), { textContent: "End" });
      button.setAttribute("aria-label", `End the session of ${device}`);
      onClick(button, () => endSessions([session]));
      row.append(button);
    }
    return row;
  });
  $("sessions").replaceChildren(...rows);
  const others = sessions.filter((session) => !session.current);
  $("end-others").hidden = others.length === 0;
  $("end-others").onclick = () => attempt(() => endSessions(others), $("end-others"));
}

function nameMethod(method) {
  return METHODS[method] ?? method.replace(/^external:/, "");
}

// `DELETE /auth/sessions` would end this one, too.
async function endSessions(sessions) {
  try {
    for (const { id } of sessions) {
      await api.request("DELETE", `/auth/sessions/${id}`).catch((error) => {
        if (error.status !== 404) throw error; // it has ended by itself
      });
    }
  } finally {
    await reload();
  }
  $("sessions-title").focus();
  say(sessions.length === 1 ? "The session has ended." : `${sessions.length} sessions have ended.`);
}

// ---- The second factor

let setupEnds = null;
let triesLeft = 0;

function showFactor(security) {
  const { second_factor: on, totp, recovery_codes: left } = security;
  const used = totp && `, last used: ${showTime(totp.last_used_at)}`;
  const state = on
    ? [`On. A login needs a code or a passkey after the password. Recovery codes left: ${left}.`]
    : [security.password ? "Off. Who knows your password can log in." : "Off. You have no password."];
  if (totp) state.push(`Authenticator app since ${showTime(totp.created_at)}${used}.`);
  $("factor-state").textContent = state.join(" ");
  $("set-up").textContent = totp ? "Replace the authenticator app" : "Set up an authenticator app";
  for (const id of ["new-codes", "turn-off"]) $(id).hidden = !on;
  $("turn-on").hidden = on || !security.passkeys;
}

onClick($("set-up"), async () => {
  forgetSecrets();
  const answer = await sendFresh("POST", "/auth/totp");
  if (!answer) return;
  const { secret, uri, qr, expires_at } = answer.body;
  setupEnds = new Date(expires_at);
  triesLeft = 5;
  $("qr").src = qr;
  $("uri").href = uri;
  $("secret").textContent = secret.replace(/(.{4})(?=.)/g, "$1 ");
  $("code-failure").textContent = "";
  show($("setup"), $("code"));
});

onSubmit($("setup"), async () => {
  const code = $("code").value.replaceAll(" ", "");
  if (!/^[0-9]{6}$/.test(code)) {
    refuseCode("A code has six digits.");
    return;
  }
  let answer = null;
  try {
    answer = await api.request("POST", "/auth/totp/confirm", { body: { code } });
  } catch (error) {
    if (error.status !== 400) throw error;
    triesLeft -= 1;
    refuseCode(
      triesLeft > 0 && new Date() < setupEnds
        ? "That is not the code that the app shows now. Look whether the device's clock is right."
        : "This set-up has ended. Cancel, and begin again.",
    );
    return;
  }
  const codes = answer.body.recovery_codes;
  const ended = codes.length > 0 ? " A login needs its code now, and all other sessions have ended." : "";
  await showCodes(codes, `The authenticator app is set up.${ended}`);
});

function refuseCode(text) {
  $("code-failure").textContent = text;
  $("code").select();
  $("code").focus();
}

$("setup").querySelector(".cancel").addEventListener("click", () => {
  forgetSecrets();
  $("set-up").focus();
});

// Show recovery codes; an app that was replaced leaves the old ones in force, and there are none.
async function showCodes(codes, text) {
  forgetSecrets();
  await reload();
  say(text);
  if (codes.length === 0) {
    $("factor-title").focus();
    return;
  }
  $("code-list").textContent = codes.join("\n");
  show($("codes"), $("codes-title"));
}

onClick($("save-codes"), () => {
  const file = new Blob([`${$("code-list").textContent}\n`], { type: "text/plain" });
  const url = URL.createObjectURL(file);
  Object.assign(document.createElement("a"), { href: url, download: "recovery-codes.txt" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1_000);
});

onClick($("codes").querySelector(".done"), () => {
  forgetSecrets();
  $("factor-title").focus();
});

onClick($("turn-on"), async () => {
  const answer = await sendFresh("PUT", "/auth/second-factor");
  if (!answer) return;
  await showCodes(answer.body.recovery_codes, "The second factor is on, and all other sessions have ended.");
});

onClick($("new-codes"), async () => {
  if (!confirm("Make new recovery codes? The old ones are dead then.")) return;
  const answer = await sendFresh("POST", "/auth/second-factor/recovery-codes");
  if (answer) await showCodes(answer.body.recovery_codes, "You have new recovery codes.");
});

onClick($("turn-off"), async () => {
  if (!confirm("Turn the second factor off? The authenticator app and the recovery codes are dead then.")) return;
  if (!(await sendFresh("DELETE", "/auth/second-factor"))) return;
  forgetSecrets();
  await reload();
  $("factor-title").focus();
  say("The second factor is off.");
});

// ---- API keys

function showKeys(keys) {
  const rows = keys.map((key) => {
    const row = document.createElement("tr");
    const name = Object.assign(document.createElement("th"), { scope: "row", textContent: key.name });
    name.append(document.createElement("br"), Object.assign(document.createElement("code"), { textContent: key.hint }));
    const used = key.last_used_at ? `${showTime(key.last_used_at)} from ${key.last_used_ip}` : "never";
    const cells = [key.scopes.join(", "), showEnd(key.expires_at), used].map((text) =>
      Object.assign(document.createElement("td"), { textContent: text }),
    );
    const button = Object.assign(document.createElement("button"), { textContent: "Revoke" });
    button.setAttribute("aria-label", `Revoke ${key.name}`);
    onClick(button, () => revokeKey(key));
    const last = document.createElement("td");
    last.append(button);
    row.append(name, ...cells, last);
    return row;
  });
  $("keys").tBodies[0].replaceChildren(...rows);
  $("keys").hidden = keys.length === 0;
  $("no-keys").hidden = keys.length > 0;
}

function showEnd(time) {
  if (!time) return "never";
  return new Date(time) < new Date() ? `ended ${showTime(time)}` : showTime(time);
}

async function revokeKey({ id, name }) {
  if (!confirm(`Revoke ${name}? Programs that use it are refused from then on.`)) return;
  await api.request("DELETE", `/auth/keys/${id}`);
  await reload();
  $("keys-title").focus();
  say(`${name} is revoked.`);
}

onSubmit($("make-key"), async () => {
  const form = $("make-key");
  const data = new FormData(form);
  const body = { name: data.get("name"), scopes: data.getAll("scopes") };
  if (body.scopes.length === 0) {
    form.querySelector("[name=scopes]").focus();
    complain("Choose what the key may do.");
    return;
  }
  // The day's last second, where the person is.
  if (data.get("end")) body.expires_at = new Date(`${data.get("end")}T23:59:59`).toISOString();
  const answer = await sendFresh("POST", "/auth/keys", { body });
  if (!answer) return;
  form.reset();
  forgetSecrets();
  await reload();
  $("key").textContent = answer.body.key;
  show($("made"), $("made-title"));
});

onClick($("made").querySelector(".done"), () => {
  forgetSecrets();
  $("keys-title").focus();
});

// ---- Passkeys and linked sign-ins, in files of their own

const page = { api, say, attempt, onClick, onSubmit, sendFresh, reload };
const showPasskeys = passkeySection(page);
const identities = identitySection(page);

// ---- Start

function showSignedOut() {
  forgetSecrets();
  $("account").hidden = true;
  $("signed-out").hidden = false;
  complain("Your login has ended.");
}

async function reload() {
  const paths = ["/auth/security", "/auth/sessions", "/auth/keys", "/auth/passkeys"];
  const [security, { sessions }, { keys }, passkeys, linked] = await Promise.all(
    [...paths, "/auth/identities"].map(read),
  );
  showSessions(sessions);
  showFactor(security);
  showKeys(keys);
  await Promise.all([showPasskeys(passkeys?.passkeys ?? []), identities.show(linked?.identities ?? [])]);
}

// What the service answers; null where it has no such route.
async function read(path) {
  try {
    return (await api.request("GET", path)).body;
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

async function start() {
  const posts = `./?${new URLSearchParams({ api: api.origin })}`;
  for (const link of document.querySelectorAll(".posts")) link.href = posts;
  $("origin").textContent = api.origin;
  const user = await api.whoAmI();
  $("signed-out").hidden = Boolean(user);
  if (!user) {
    identities.forget();
    return;
  }
  $("username").textContent = user.username;
  await reload();
  $("account").hidden = false;
  await identities.finish();
}

attempt(start);
