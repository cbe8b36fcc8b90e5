// What stands around the views: the caller, the links, and the messages.

import { h } from "./dom.js";

const $ = (id) => document.getElementById(id);
const main = document.querySelector("main");
const nav = document.querySelector("nav");

export function say(text) {
  $("failure").textContent = "";
  $("message").textContent = text;
}

// What was said stays: a deed that is done is done, though its list could not be read again.
export function complain(text) {
  $("failure").textContent = text;
}

// Show a view in the place of the other one, and move the focus to its heading.
export function showView(title, ...children) {
  const heading = h("h1", { tabindex: "-1" }, title);
  main.replaceChildren(heading, ...children.flat());
  setTitle(title);
  heading.focus();
  return heading;
}

export function setTitle(title) {
  document.title = `${title} – Console`;
}

// Show who is signed in, or nobody; the links are for operators.
export function showCaller(user, isOperator) {
  $("caller").hidden = !user;
  $("name").textContent = user?.username ?? "";
  nav.hidden = !isOperator;
}

export function markLink(name) {
  for (const link of nav.querySelectorAll("a")) {
    if (link.hash === `#/${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

export function onSignOut(listener) {
  $("sign-out").addEventListener("click", (event) => listener(event.currentTarget));
}
