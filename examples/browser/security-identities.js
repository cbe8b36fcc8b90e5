// The page "Security": the people at external providers that are linked to the account.

import { explainExchange, leaveFor, listProviders, showProviders, takeReturn } from "./external.js";
import { showTime } from "./words.js";

const $ = (id) => document.getElementById(id);

// `page` has {api, say, attempt, onClick, sendFresh, reload} of the page. Returns
// {show, finish, forget}.
export function identitySection({ api, say, attempt, onClick, sendFresh, reload }) {
  let providers = null;

  async function show(listed) {
    providers ??= await listProviders(api);
    $("identities-section").hidden = providers.length === 0 && listed.length === 0;
    $("no-identities").hidden = listed.length > 0;
    $("identities").replaceChildren(...listed.map(showRow));
    const label = (title) => `Link ${title}`;
    showProviders($("link"), providers, label, (provider, button) =>
      attempt(() => leaveFor(api, provider), button),
    );
  }

  function showRow(identity) {
    const row = document.createElement("li");
    const title = providers.find(({ name }) => name === identity.provider)?.title ?? identity.provider;
    const who = identity.email ?? identity.name ?? "without an address";
    const button = Object.assign(document.createElement("button"), { textContent: "Unlink" });
    button.setAttribute("aria-label", `Unlink ${who} at ${title}`);
    onClick(button, () => unlink(identity, title));
    row.append(
      Object.assign(document.createElement("strong"), { className: "device", textContent: `${title}: ${who}` }),
      ` – linked ${showTime(identity.created_at)}, last used: ${showTime(identity.last_used_at)} `,
      button,
    );
    return row;
  }

  async function unlink({ id }, title) {
    if (!confirm(`Unlink ${title}? It logs you in no more.`)) return;
    if (!(await sendFresh("DELETE", `/auth/identities/${id}`))) return;
    await reload();
    $("identities-title").focus();
    say(`${title} is unlinked.`);
  }

  // Link the person whom a provider sent back; the code is good for two minutes.
  async function finish() {
    const returned = takeReturn(api);
    if (!returned) return;
    const { title, proof } = returned;
    let answer = null;
    try {
      answer = await sendFresh("POST", "/auth/identities", { body: proof });
    } catch (error) {
      const words = explainExchange(error, title);
      throw words === null ? error : new Error(words);
    }
    if (!answer) return;
    await reload();
    $("identities-title").focus();
    say(answer.status === 201 ? `${title} is linked.` : `${title} was linked already.`);
  }

  // Of a person whose login ended meanwhile, so that no code stays in the address.
  function forget() {
    try {
      takeReturn(api);
    } catch {
      // It is of no use, whatever it is.
    }
  }

  return { show, finish, forget };
}
