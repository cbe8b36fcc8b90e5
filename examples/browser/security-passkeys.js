// The page "Security": one's own passkeys and security keys.

import { canUsePasskeys, createPasskey, logInOptions } from "./passkeys.js";
import { showTime } from "./words.js";

const KINDS = { passkey: "logs in alone", security_key: "a second factor only" };
const $ = (id) => document.getElementById(id);

// `page` has {api, say, onClick, onSubmit, sendFresh, reload} of the page. Returns what shows
// the list.
export function passkeySection({ api, say, onClick, onSubmit, sendFresh, reload }) {
  let domain; // that the service's passkeys are of; null where it has none, unknown at first

  async function showPasskeys(passkeys) {
    if (domain === undefined) domain = (await logInOptions(api))?.publicKey.rpId ?? null;
    const none = passkeys.length === 0;
    $("passkeys-section").hidden = none && domain === null;
    $("no-passkeys").hidden = !none;
    $("add-passkey").hidden = domain === null || !canUsePasskeys();
    $("passkeys").replaceChildren(...passkeys.map(showRow));
  }

  function showRow(passkey) {
    const row = document.createElement("li");
    const facts = [KINDS[passkey.kind] ?? passkey.kind, `added ${showTime(passkey.created_at)}`];
    facts.push(`last used: ${showTime(passkey.last_used_at)}`);
    if (passkey.synced) facts.push("on all your devices");
    if (passkey.rp_id !== domain) facts.push(`of ${passkey.rp_id}, of no use here any more`);
    row.append(
      Object.assign(document.createElement("strong"), { className: "device", textContent: passkey.name }),
      ` – ${facts.join(", ")} `,
      button("Rename", passkey, rename),
      " ",
      button("Remove", passkey, remove),
    );
    return row;
  }

  function button(text, passkey, work) {
    const made = Object.assign(document.createElement("button"), { textContent: text });
    made.setAttribute("aria-label", `${text} ${passkey.name}`);
    onClick(made, () => work(passkey));
    return made;
  }

  async function rename({ id, name }) {
    const chosen = prompt("Its name", name)?.trim();
    if (!chosen || chosen === name) return;
    await api.request("PATCH", `/auth/passkeys/${id}`, { body: { name: chosen } });
    await finish(`${name} is called ${chosen} now.`);
  }

  async function remove({ id, name }) {
    if (!confirm(`Remove ${name}? It logs you in no more, and with the last factor the second factor goes off.`)) return;
    if (!(await sendFresh("DELETE", `/auth/passkeys/${id}`))) return;
    await finish(`${name} is removed. Remove it from your device, too.`);
  }

  async function finish(text) {
    await reload();
    $("passkeys-title").focus();
    say(text);
  }

  onSubmit($("add-passkey"), async (chosen) => {
    const form = $("add-passkey");
    const name = new FormData(form).get("name").trim();
    const options = await sendFresh("POST", "/auth/passkeys/options", { body: { kind: chosen.value } });
    if (!options) return;
    const credential = await createPasskey(options.body);
    const body = name ? { credential, name } : { credential };
    const added = await api.request("POST", "/auth/passkeys", { body });
    form.reset();
    await finish(`${added.body.name} is added.`);
  });

  return showPasskeys;
}
