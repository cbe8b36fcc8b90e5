// Dialogs: Escape closes them, and the focus returns to where it was.

import { h, newId } from "./dom.js";

const open = new Set();

// Show a dialog with a form; returns {dialog, form, closed}, whose `closed` is settled when it is gone.
export function showDialog(title, ...children) {
  const id = newId();
  const form = h("form", {}, h("h2", { id }, title), children);
  const dialog = h("dialog", { "aria-labelledby": id }, form);
  const opener = document.activeElement;
  const closed = new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      open.delete(dialog);
      dialog.remove();
      if (opener?.isConnected) opener.focus();
      resolve();
    });
  });
  document.body.append(dialog);
  open.add(dialog);
  dialog.showModal();
  return { dialog, form, closed };
}

// Close what is open, because the login is over.
export function closeDialogs() {
  for (const dialog of [...open]) dialog.close();
}

// Ask once whether to do what `text` says; `action` names the button. Whether the person agrees.
export async function ask({ title, text, action }) {
  const description = newId();
  const paragraphs = text.map((line) => h("p", {}, line));
  const cancel = h("button", { type: "button" }, "Cancel");
  const { dialog, form, closed } = showDialog(
    title,
    h("div", { id: description }, paragraphs),
    h("p", { class: "buttons" }, h("button", { class: "danger" }, action), cancel),
  );
  let agreed = false;
  dialog.setAttribute("aria-describedby", description);
  cancel.addEventListener("click", () => dialog.close());
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    agreed = true;
    dialog.close();
  });
  cancel.focus();
  await closed;
  return agreed;
}
