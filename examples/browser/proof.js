// The dialog in which people prove who they are: with a code after the password, or for a step-up.

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
};

const TEMPLATE = document.createElement("template");
TEMPLATE.innerHTML = `
  <dialog aria-labelledby="proof-title">
    <form>
      <h2 id="proof-title"></h2>
      <p class="text"></p>
      <fieldset><legend>Confirm with</legend></fieldset>
      <label class="label" for="proof-value"></label>
      <input id="proof-value" required>
      <p role="alert"></p>
      <p>
        <button>Continue</button>
        <button type="button" class="cancel">Cancel</button>
      </p>
    </form>
  </dialog>`;

// Ask until `send` succeeds; `methods` are those that the service named. `send` gets {code: "…"},
// {recovery_code: "…"} or {password: "…"}. Returns its result, or null when the person gives up.
export function askForProof({ title, text, methods, send }) {
  const known = methods.filter((method) => method in METHODS);
  if (known.length === 0) {
    throw new Error("This page knows none of the ways to confirm that it is you. Log out, and in again.");
  }
  return new Promise((resolve, reject) => {
    const dialog = TEMPLATE.content.firstElementChild.cloneNode(true);
    const form = dialog.querySelector("form");
    const field = form.querySelector("#proof-value");
    const failure = form.querySelector("[role=alert]");
    let result = null;
    let fault = null;
    let method = null;

    function choose(chosen) {
      method = chosen;
      form.querySelector(".label").textContent = METHODS[method].label;
      for (const name of ["inputmode", "autocapitalize"]) field.removeAttribute(name);
      for (const [name, value] of Object.entries(METHODS[method].attributes)) {
        field.setAttribute(name, value);
      }
      field.value = "";
      field.focus();
    }

    form.querySelector("h2").textContent = title;
    form.querySelector(".text").textContent = text;
    form.querySelector("fieldset").hidden = known.length === 1;
    for (const name of known) {
      const label = document.createElement("label");
      const radio = document.createElement("input");
      Object.assign(radio, { type: "radio", name: "method", value: name, checked: name === known[0] });
      radio.addEventListener("change", () => choose(name));
      label.append(radio, ` ${METHODS[name].choice}`);
      form.querySelector("fieldset").append(label);
    }

    form.querySelector(".cancel").addEventListener("click", () => dialog.close());
    // The Escape key closes it, too.
    dialog.addEventListener("close", () => {
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
        result = await send({ [method]: field.value });
        dialog.close();
      } catch (error) {
        if (isFinal(error)) {
          fault = error;
          dialog.close();
          return;
        }
        failure.textContent = explainProof(error, method);
        field.select();
        field.focus();
      } finally {
        button.disabled = false;
      }
    });

    document.body.append(dialog);
    dialog.showModal();
    choose(known[0]);
  });
}

// Whether no other proof can help: the login or the session is over.
function isFinal(error) {
  return error.status === 401 && error.reason !== "second_factor_failed";
}

function explainProof(error, method) {
  // The second factor was turned on elsewhere since this page asked.
  if (error.reason === "second_factor_required") {
    return "The password is not enough any more. Cancel, and try again.";
  }
  if (error.reason === "second_factor_failed" && method === "recovery_code") {
    return "That is none of your unused recovery codes.";
  }
  if (method === "password" && error.status === 403) return "That password is wrong.";
  if (error.status === 400 && method === "code") return "A code has six digits.";
  if (error.status === 400 && method === "recovery_code") return "A recovery code has 16 letters and digits.";
  return explain(error);
}
