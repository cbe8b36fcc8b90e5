// Elements of text: markup is never parsed, so that what others wrote stays what they wrote.

// Make an element. A name that begins with "on" adds a listener; null, undefined and false add nothing.
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

let made = 0;

// An id that no other element has.
export function newId() {
  made += 1;
  return `id-${made}`;
}

// A field with its label.
export function labelled(label, field) {
  const id = newId();
  field.id = id;
  return h("div", { class: "field" }, h("label", { for: id }, label), field);
}

// A choice among [value, text].
export function select(name, choices, chosen) {
  const options = choices.map(([value, text]) => h("option", { value, selected: value === chosen }, text));
  return h("select", { name }, options);
}

export function showTime(time) {
  if (!time) return "never";
  const text = new Date(time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
  return h("time", { datetime: time, title: time }, text);
}

export function badge(text, kind = "") {
  return h("span", { class: `badge ${kind}`.trim() }, text);
}

// Names beside their values; values may be elements.
export function facts(pairs) {
  const rows = pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)));
  return h("dl", {}, rows);
}
