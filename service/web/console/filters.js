// Forms of filters: what is chosen stands in the address, so that it can be kept, sent and gone back from.

import { h } from "./dom.js";

// `fields` are elements of `labelled`; `name` is the view's.
export function filterForm(name, fields) {
  const form = h("form", { class: "filters", role: "search" }, fields, h("button", { class: "primary" }, "Show"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const given = [...new FormData(form)].map(([key, value]) => [key, value.trim()]).filter(([, value]) => value);
    const chosenAddress = address(name, Object.fromEntries(given));
    // The same filters again: the list is read anew.
    if (location.hash === chosenAddress) dispatchEvent(new HashChangeEvent("hashchange"));
    else location.hash = chosenAddress;
  });
  return form;
}

// The address of a view with filters.
export function address(name, filters = {}) {
  const query = new URLSearchParams(filters).toString();
  return `#/${name}${query ? `?${query}` : ""}`;
}

// The filters of an address that the view has, as parameters of a request.
export function chosen(query, names) {
  return Object.fromEntries(names.map((name) => [name, query.get(name)]).filter(([, value]) => value));
}
