// The view "Users": find an account.

import { badge, h, labelled, select, showTime } from "./dom.js";
import { address, chosen, filterForm } from "./filters.js";
import { showView } from "./frame.js";
import { CursorTable } from "./table.js";

export function showUsers({ app, query, signal }) {
  const parameters = chosen(query, ["q", "second_factor"]);
  const list = new CursorTable({
    app,
    signal,
    path: "/admin/users",
    member: "users",
    noun: "user",
    parameters,
    label: "Users, the newest first",
    columns: ["User", "Email", "State", "Registered"],
    cells: userCells,
    prepare: (users) => app.names.note(users),
  });
  const words = h("input", { type: "search", name: "q", value: parameters.q, maxlength: "254", autocomplete: "off" });
  const factor = select(
    "second_factor",
    [["", "any"], ["true", "on"], ["false", "off"]],
    parameters.second_factor,
  );
  const form = filterForm("users", [labelled("Part of the email or username", words), labelled("Second factor", factor)]);
  showView("Users", form, list.element);
  app.attempt(() => list.load());
}

function userCells(user) {
  const link = h("a", { class: "long", href: address(`users/${user.id}`) }, user.username);
  return [link, h("span", { class: "long" }, user.email), userBadges(user), showTime(user.created_at)];
}

// What an account is, in words beside their colours.
export function userBadges(user) {
  return h("span", { class: "badges" }, [
    user.is_active ? badge("active", "good") : badge("disabled", "bad"),
    user.is_admin ? badge("operator", "note") : null,
    user.second_factor ? badge("second factor", "good") : null,
    user.has_password ? null : badge("no password"),
    user.email_verified ? null : badge("email not verified", "warn"),
  ]);
}
