// The view of one account: what is known of it, and what an operator can do.

import { facts, h, showTime } from "./dom.js";
import { eventTable } from "./event-table.js";
import { address } from "./filters.js";
import { setTitle, showView } from "./frame.js";
import { userBadges } from "./users.js";

// The service answers alike whether there was something to take away or not.
const MAILED = "The owner is informed by mail, if there was anything.";

export function showUser({ app, id, signal }) {
  const path = `/admin/users/${encodeURIComponent(id)}`;
  const about = h("div", {}, h("p", { class: "quiet" }, "Loading …"));
  const deeds = h("section", { "aria-label": "Actions", hidden: true });
  const events = eventTable({ app, signal, parameters: { user: id }, label: "Events of this account, the newest first" });
  const heading = showView("User", h("p", {}, h("a", { href: "#/users" }, "All users")), about, deeds, h("h2", {}, "Events"), events.element);
  const refresh = async (known) => {
    const user = known ?? (await app.api.get(path, { signal }));
    app.names.note([user]);
    heading.textContent = user.username;
    setTitle(`${user.username} – Users`);
    about.replaceChildren(userFacts(user));
    showDeeds(deeds, user, { app, path, refresh });
    await events.load();
  };
  app.attempt(async () => {
    try {
      await refresh();
    } catch (error) {
      if (error.status !== 404) {
        about.replaceChildren(h("p", {}, "The account could not be read."));
        throw error;
      }
      about.replaceChildren(h("p", {}, "There is no such account, or it was deleted. Its events are kept."));
      await events.load();
    }
  });
}

function userFacts(user) {
  return facts([
    ["Email", user.email],
    ["State", userBadges(user)],
    ["Registered", showTime(user.created_at)],
    ["Id", h("code", {}, user.id)],
    ["Posts", h("a", { href: address("posts", { author: user.username }) }, `Posts by ${user.username}`)],
  ]);
}

// One button for each deed, which stays the same element so that the focus stays.
function showDeeds(section, user, { app, path, refresh }) {
  const buttons = deedsOf(user).map(({ label, method = "DELETE", part = "", body, done, ...question }, place) => {
    const button = section.querySelectorAll("button")[place] ?? h("button", { type: "button" });
    button.textContent = label;
    button.onclick = () =>
      app.attempt(async () => {
        const answer = await app.deed({ action: label, ...question }, method, path + part, { body, done });
        await refresh(answer);
      }, button);
    return button;
  });
  if (section.hidden) section.append(h("h2", {}, "Actions"), h("p", { class: "buttons" }, buttons));
  section.hidden = false;
}

function deedsOf({ username, is_active: isActive, is_admin: isAdmin }) {
  return [
    isActive ? disable(username) : enable(username),
    isAdmin ? revokeAdmin(username) : grantAdmin(username),
    {
      label: "Reset the second factor",
      title: `Reset the second factor of ${username}?`,
      text: [
        "The authenticator app, the passkeys and the recovery codes of the account are gone for good, and its sessions end.",
        "An account that has none of these stays signed in: end its sessions instead.",
        "Make sure that it is the owner who asks: afterwards the password alone signs in.",
        MAILED,
      ],
      part: "/second-factor",
      done: `${username} has no second factor and no passkeys any more. If there were any, the sessions have ended, too.`,
    },
    {
      label: "Revoke the API keys",
      title: `Revoke all API keys of ${username}?`,
      text: ["Programs that use them are refused from then on. Keys that are revoked do not come back.", MAILED],
      part: "/keys",
      done: `${username} has no API keys any more.`,
    },
    {
      label: "End the sessions",
      title: `End all sessions of ${username}?`,
      text: ["The account is signed out everywhere. It can sign in again, and its API keys go on working."],
      part: "/sessions",
      done: `${username} is signed out everywhere.`,
    },
  ];
}

function disable(username) {
  return {
    label: "Disable the account",
    title: `Disable ${username}?`,
    text: ["The account is refused with its next request, API keys included, and cannot sign in until it is enabled again."],
    method: "PATCH",
    body: { is_active: false },
    done: `${username} is disabled.`,
  };
}

function enable(username) {
  return {
    label: "Enable the account",
    title: `Enable ${username}?`,
    text: ["The account can sign in again, with what it had before."],
    method: "PATCH",
    body: { is_active: true },
    done: `${username} is enabled.`,
  };
}

function grantAdmin(username) {
  return {
    label: "Grant operator rights",
    title: `Grant operator rights to ${username}?`,
    text: ["An operator can do all that this console does, to your account, too."],
    method: "PATCH",
    body: { is_admin: true },
    done: `${username} is an operator.`,
  };
}

function revokeAdmin(username) {
  return {
    label: "Revoke operator rights",
    title: `Revoke the operator rights of ${username}?`,
    text: ["The account keeps its posts and sessions, and this console is closed to it from the next request on."],
    method: "PATCH",
    body: { is_admin: false },
    done: `${username} is an operator no longer.`,
  };
}
