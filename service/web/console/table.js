// Tables that are read on by cursor. On a narrow screen each row is a block; the roles are named
// because a table that is no table to the style sheet is none to a screen reader either.

import { h } from "./dom.js";
import { count } from "./words.js";

const KEPT = 500; // rows, above which a list that grows by itself begins anew

// `columns` are the headings; `cells` makes the contents of an item's cells, `key` what tells items apart.
export class Table {
  #body = h("tbody", { role: "rowgroup" });
  #rows = new Map();

  constructor({ label, columns, cells, key = (item) => item.id }) {
    const headings = columns.map((text) => h("th", { role: "columnheader", scope: "col" }, text));
    const head = h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, headings));
    this.element = h("table", { role: "table", "aria-label": label }, head, this.#body);
    Object.assign(this, { columns, cells, key });
  }

  get size() {
    return this.#rows.size;
  }

  has(item) {
    return this.#rows.has(this.key(item));
  }

  clear() {
    this.#rows.clear();
    this.#body.replaceChildren();
  }

  append(items) {
    this.#body.append(...items.map((item) => this.#add(item)));
  }

  prepend(items) {
    this.#body.prepend(...items.map((item) => this.#add(item)));
  }

  // Show an item anew in its row; the focus stays in the row.
  replace(item) {
    const old = this.#rows.get(this.key(item));
    if (!old) return;
    const focused = old.contains(document.activeElement);
    const row = this.#add(item);
    old.replaceWith(row);
    if (focused) (row.querySelector("button") ?? row.querySelector("a"))?.focus();
  }

  // Take an item's row away; the focus goes to the next row that has a button.
  remove(item) {
    const row = this.#rows.get(this.key(item));
    const next = (row.nextElementSibling ?? row.previousElementSibling)?.querySelector("button, a");
    const focused = row.contains(document.activeElement);
    this.#rows.delete(this.key(item));
    row.remove();
    if (focused) (next ?? document.querySelector("h1")).focus();
  }

  focusRow(item) {
    this.#rows.get(this.key(item))?.querySelector("a, button")?.focus();
  }

  #add(item) {
    const [first, ...others] = this.cells(item);
    const row = h(
      "tr",
      { role: "row" },
      h("th", { role: "rowheader", scope: "row" }, first),
      others.map((cell, index) => h("td", { role: "cell", "data-label": this.columns[index + 1] }, cell)),
    );
    this.#rows.set(this.key(item), row);
    return row;
  }
}

// A table of what `path` lists, with a button that reads on. `prepare` is awaited with each page.
export class CursorTable {
  #cursor = null;
  #more = h("button", { type: "button" }, "More");
  #state = h("p", { class: "quiet", role: "status" }, "Loading …");

  constructor({ app, signal, path, member, parameters = {}, noun, prepare, ...options }) {
    this.table = new Table(options);
    Object.assign(this, { app, signal, path, member, parameters, noun, prepare });
    this.table.element.hidden = true;
    this.#more.hidden = true;
    this.#more.addEventListener("click", () => app.attempt(() => this.#readOn(), this.#more));
    this.element = h("div", { class: "list" }, this.table.element, this.#state, h("p", {}, this.#more));
  }

  async load() {
    const items = await this.fetch().catch((error) => {
      this.#state.textContent = "The list could not be read.";
      throw error;
    });
    this.table.clear();
    this.table.append(items);
    this.show();
  }

  // The first page, or the one after the last; the cursor moves on.
  async fetch(cursor = null) {
    const parameters = { ...this.parameters, cursor };
    const body = await this.app.api.get(this.path, { parameters, signal: this.signal });
    await this.prepare?.(body[this.member]);
    this.#cursor = body.next_cursor;
    return body[this.member];
  }

  // What is new since the list was read, without moving its end.
  async fetchNew() {
    const body = await this.app.api.get(this.path, { parameters: this.parameters, signal: this.signal });
    const items = body[this.member];
    const added = items.filter((item) => !this.table.has(item));
    if (added.length === 0) return added;
    await this.prepare?.(added);
    // More than a page: what lies between is not known, so the list begins anew; and so does one
    // that a tab has followed for long.
    if (added.length === items.length || this.table.size + added.length > KEPT) {
      this.table.clear();
      this.table.append(items);
      this.#cursor = body.next_cursor;
    } else this.table.prepend(added);
    this.show();
    return added;
  }

  // Take an item away that belongs here no more.
  drop(item) {
    this.table.remove(item);
    this.show();
  }

  show() {
    const { size } = this.table;
    this.table.element.hidden = size === 0;
    this.#more.hidden = !this.#cursor;
    const shown = count(size, this.noun);
    this.#state.textContent = size === 0 ? `There is ${shown}.` : `${shown} shown${this.#cursor ? ", and there are more" : ""}.`;
  }

  async #readOn() {
    const items = await this.fetch(this.#cursor);
    this.table.append(items);
    this.show();
    if (this.#more.hidden && items.length > 0) this.table.focusRow(items[0]);
  }
}
