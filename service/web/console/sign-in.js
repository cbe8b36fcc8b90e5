// The views before the console: signing in, and why it stays closed.

import { h, labelled } from "./dom.js";
import { explainExchange, leaveFor, listProviders, takeReturn } from "./external.js";
import { showView } from "./frame.js";
import { askForProof } from "./proof.js";
import { canUsePasskeys, logInByPasskey, logInOptions } from "./passkeys.js";

// `entered` is called once the person is signed in.
export function showSignIn(app, entered) {
  const email = h("input", { type: "email", name: "email", autocomplete: "username", required: true, maxlength: "254" });
  const password = h("input", {
    type: "password",
    name: "password",
    autocomplete: "current-password",
    required: true,
    maxlength: "1024",
  });
  const button = h("button", { class: "primary" }, "Sign in");
  const others = h("div", { class: "ways" });
  const form = h("form", { class: "card" }, labelled("Email", email), labelled("Password", password), h("p", {}, button));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    app.attempt(async () => {
      if (await signIn(app, () => app.api.logIn(email.value, password.value))) await entered();
    }, button);
  });
  showView("Sign in", h("p", {}, "The console is for operators of this service."), form, others);
  app.attempt(() => offerWays(app, others, entered));
}

// Show the other ways to sign in that the service and the browser have.
async function offerWays(app, element, entered) {
  const { api } = app;
  const offer = (text, work) => {
    const button = h("button", { type: "button" }, text);
    button.addEventListener("click", () => app.attempt(work, button));
    element.append(button);
  };
  if (canUsePasskeys() && (await logInOptions(api))) {
    offer("Sign in with a passkey", async () => {
      await logInByPasskey(api);
      await entered();
    });
  }
  for (const provider of await listProviders(api)) {
    offer(`Continue with ${provider.title}`, () => leaveFor(api, provider));
  }
}

// Finish the sign-in of a person whom a provider sent back; whether there is one who is signed in.
export async function finishExternally(app) {
  const returned = takeReturn();
  if (!returned) return false;
  const { title, proof } = returned;
  try {
    return await signIn(app, () => app.api.logInExternally(proof));
  } catch (error) {
    const words = explainExchange(error, title);
    throw words === null ? error : new Error(words);
  }
}

// Sign in by `first`, and by the second factor of an account that has one; whether it is done.
async function signIn(app, first) {
  try {
    await first();
    return true;
  } catch (error) {
    if (error.reason !== "second_factor_required" || !error.body.login_token) throw error;
    const token = error.body.login_token;
    const done = await askForProof({
      title: "Second factor",
      text: "This account asks for a second factor as well.",
      methods: error.body.factors.map((factor) => (factor === "totp" ? "code" : factor)),
      send: (proof) => app.api.finishLogIn(token, proof),
      passkeyOptions: () => app.api.request("POST", "/auth/login/second-factor/options", { body: { login_token: token } }),
    });
    return done !== null;
  }
}

// Show why the console is closed to somebody who is signed in.
export function showRefusal(app, state, entered) {
  const texts = {
    refused: [
      "This account is no operator's, so there is nothing for it here.",
      "Sign out, and in with an operator's account, or ask an operator to make yours one.",
    ],
    disabled: ["This account was disabled by an operator, so there is nothing for it here.", "Another operator can enable it."],
  };
  if (state === "second_factor") showSecondFactor(app, entered);
  else showView("Not for this account", h("div", { class: "card" }, texts[state].map((text) => h("p", {}, text))));
}

function showSecondFactor(app, entered) {
  const confirm = h("button", { type: "button", class: "primary", hidden: true }, "Confirm with the second factor");
  const advice = h("p", {}, "");
  showView(
    "A second factor is needed",
    h("div", { class: "card" }, h("p", {}, "This service lets operators work only when they signed in with a second factor, and you did not."), advice, h("p", {}, confirm)),
  );
  confirm.addEventListener("click", () =>
    app.attempt(async () => {
      await app.stepUp(["code", "passkey", "recovery_code"], "Afterwards the console opens.");
      await entered();
    }, confirm),
  );
  app.attempt(async () => {
    const { second_factor: isOn } = await app.api.get("/auth/security");
    confirm.hidden = !isOn;
    advice.textContent = isOn
      ? "Your account has one: show it now."
      : "Your account has none yet. Set one up where you manage your account, an authenticator app or a passkey. Then sign in again.";
  });
}

// Show that the service could not be asked who is signed in.
export function showTrouble(app, text, again) {
  const button = h("button", { type: "button", class: "primary" }, "Try again");
  button.addEventListener("click", () => app.attempt(again, button));
  showView("The console cannot be opened", h("div", { class: "card" }, h("p", {}, text), h("p", {}, button)));
}
