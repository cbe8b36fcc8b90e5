// The dialog in which people prove who they are: with a code or a passkey after the password, or for
// a step-up.

import { canUsePasskeys, getPasskey } from "./passkeys.js";
import { explain } from "./words.js";

const METHODS = {
  code: {
    label: "Code from your authenticator app",
    choice: "Authenticator app",
    attributes: { type: "text", inputmode: "numeric", autocomplete: "one-time-code", maxlength: "16" },
  },
  recovery_code: {
    label: "One of your recovery codes",
    choice: "Recovery code",
    attributes: { type: "text", autocomplete: "off", autocapitalize: "characters", maxlength: "64" },
  },
  password: {
    label: "Your password",
    choice: "Password",
    attributes: { type: "password", autocomplete: "current-password", maxlength: "1024" },
  },
  passkey: {
    label: "Your browser asks for it when you continue.",
    choice: "Passkey or security key",
    attributes: null, // nothing is typed
  },
};

const TEMPLATE = document.createElement("template");
TEMPLATE.innerHTML = `
  <dialog aria-labelledby="proof-title">
    <form>
      <h2 id="proof-title"></h2>
      <p class="text"></p>
      <fieldset><legend>Confirm with</legend></fieldset>
      <label class="label" for="proof-value"></label>
      <p class="hint"></p>
      <input id="proof-value">
      <p role="alert"></p>
      <p>
        <button>Continue</button>
        <button type="button" class="cancel">Cancel</button>
      </p>
    </form>
  </dialog>`;

// Ask until `send` succeeds; `methods` are those that the service named. `send` gets {code: "…"},
// {recovery_code: "…"}, {password: "…"} or {passkey: {…}}, for which `passkeyOptions` fetches the
// options. Returns its result, or null when the person gives up.
export function askForProof({ title, text, methods, send, passkeyOptions }) {
  const known = methods.filter((method) => method in METHODS && (method !== "passkey" || canUsePasskeys()));
  if (known.length === 0) {
    throw new Error("This page knows none of the ways to confirm that it is you. Log out, and in again.");
  }
  return new Promise((resolve, reject) => {
    const dialog = TEMPLATE.content.firstElementChild.cloneNode(true);
    const form = dialog.querySelector("form");
    const field = form.querySelector("#proof-value");
    const failure = form.querySelector("[role=alert]");
    const closing = new AbortController();
    let result = null;
    let fault = null;
    let method = null;

    function choose(chosen) {
      method = chosen;
      const { label, attributes } = METHODS[method];
      const typed = attributes !== null;
      form.querySelector(".label").textContent = typed ? label : "";
      form.querySelector(".hint").textContent = typed ? "" : label;
      for (const element of form.querySelectorAll(".label, #proof-value")) element.hidden = !typed;
      form.querySelector(".hint").hidden = typed;
      for (const name of ["inputmode", "autocapitalize"]) field.removeAttribute(name);
      for (const [name, value] of Object.entries(attributes ?? {})) field.setAttribute(name, value);
      field.required = typed;
      field.value = "";
      failure.textContent = "";
    }

    function focus() {
      if (field.hidden) form.querySelector("button").focus();
      else {
        field.select();
        field.focus();
      }
    }

    async function makeProof() {
      if (method !== "passkey") return { [method]: field.value };
      return { passkey: await getPasskey(await passkeyOptions(), { signal: closing.signal }) };
    }

    form.querySelector("h2").textContent = title;
    form.querySelector(".text").textContent = text;
    form.querySelector("fieldset").hidden = known.length === 1;
    for (const name of known) {
      const label = document.createElement("label");
      const radio = document.createElement("input");
      Object.assign(radio, { type: "radio", name: "method", value: name, checked: name === known[0] });
      // The focus stays, so that the arrow keys go on to the next choice.
      radio.addEventListener("change", () => choose(name));
      label.append(radio, ` ${METHODS[name].choice}`);
      form.querySelector("fieldset").append(label);
    }

    form.querySelector(".cancel").addEventListener("click", () => dialog.close());
    // The Escape key closes it, too.
    dialog.addEventListener("close", () => {
      closing.abort();
      dialog.remove();
      if (fault) reject(fault);
      else resolve(result);
    });
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const button = form.querySelector("button");
      if (button.disabled) return;
      button.disabled = true;
      failure.textContent = "";
      try {
        result = await send(await makeProof());
        dialog.close();
      } catch (error) {
        if (closing.signal.aborted) return;
        if (isFinal(error)) {
          fault = error;
          dialog.close();
          return;
        }
        failure.textContent = explainProof(error, method);
        button.disabled = false;
        focus();
      } finally {
        button.disabled = false;
      }
    });

    document.body.append(dialog);
    dialog.showModal();
    choose(known[0]);
    focus();
  });
}

// Whether no other proof can help: the login or the session is over.
function isFinal(error) {
  return error.status === 401 && !["second_factor_failed", "passkey_refused"].includes(error.reason);
}

function explainProof(error, method) {
  // The second factor was turned on elsewhere since this page asked.
  if (error.reason === "second_factor_required") {
    return "The password is not enough any more. Cancel, and try again.";
  }
  if (error.reason === "second_factor_failed" && method === "recovery_code") {
    return "That is none of your unused recovery codes.";
  }
  if (method === "passkey" && ["second_factor_failed", "passkey_refused"].includes(error.reason)) {
    return "That passkey was not accepted. Try again, or choose another way.";
  }
  if (method === "password" && error.status === 403) return "That password is wrong.";
  if (error.status === 400 && method === "code") return "A code has six digits.";
  if (error.status === 400 && method === "recovery_code") return "A recovery code has 16 letters and digits.";
  return explain(error);
}
