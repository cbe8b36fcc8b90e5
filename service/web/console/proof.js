// The dialog in which people prove who they are: with a code or a passkey after the password, or for
// a step-up.

import { showDialog } from "./dialog.js";
import { h, newId } from "./dom.js";
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

// Ask until `send` succeeds; `methods` are those that the service named. `send` gets {code: "…"},
// {recovery_code: "…"}, {password: "…"} or {passkey: {…}}, for which `passkeyOptions` fetches the
// options. Returns its result, or null when the person gives up.
export async function askForProof({ title, text, methods, send, passkeyOptions }) {
  const known = methods.filter((method) => method in METHODS && (method !== "passkey" || canUsePasskeys()));
  if (known.length === 0) {
    throw new Error("This page knows none of the ways to confirm that it is you. Sign out, and in again.");
  }
  const parts = makeParts(known);
  const { dialog, form, closed } = showDialog(title, h("p", {}, text), Object.values(parts));
  const { field, failure, buttons } = parts;
  const input = field.querySelector("input");
  const [submit, cancel] = buttons.children;
  const closing = new AbortController();
  let method = null;
  let result = null;
  let fault = null;

  function choose(chosen) {
    method = chosen;
    showMethod(parts, METHODS[method]);
  }

  function focus() {
    if (METHODS[method].attributes === null) {
      submit.focus();
    } else {
      input.select();
      input.focus();
    }
  }

  async function makeProof() {
    if (method !== "passkey") return { [method]: input.value };
    return { passkey: await getPasskey(await passkeyOptions(), { signal: closing.signal }) };
  }

  async function tryOnce() {
    if (submit.disabled) return;
    submit.disabled = true;
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
      submit.disabled = false;
      focus();
    }
  }

  cancel.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => closing.abort());
  // The focus stays, so that the arrow keys go on to the next choice.
  parts.choices.addEventListener("change", (event) => choose(event.target.value));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    tryOnce();
  });
  choose(known[0]);
  focus();
  await closed;
  if (fault) throw fault;
  return result;
}

function makeParts(methods) {
  const radios = methods.map((value, index) =>
    h("label", {}, h("input", { type: "radio", name: "method", value, checked: index === 0 }), ` ${METHODS[value].choice}`),
  );
  const id = newId();
  return {
    choices: h("fieldset", { hidden: methods.length === 1 }, h("legend", {}, "Confirm with"), radios),
    field: h("div", { class: "field" }, h("label", { for: id }), h("input", { id })),
    hint: h("p", {}),
    failure: h("p", { role: "alert" }),
    buttons: h("p", { class: "buttons" }, h("button", { class: "primary" }, "Continue"), h("button", { type: "button" }, "Cancel")),
  };
}

function showMethod({ field, hint, failure }, { label, attributes }) {
  const [name, input] = field.children;
  field.hidden = attributes === null;
  hint.hidden = attributes !== null;
  name.textContent = label;
  hint.textContent = label;
  for (const attribute of ["inputmode", "autocapitalize"]) input.removeAttribute(attribute);
  for (const [attribute, value] of Object.entries(attributes ?? {})) input.setAttribute(attribute, value);
  input.required = attributes !== null;
  input.value = "";
  failure.textContent = "";
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
