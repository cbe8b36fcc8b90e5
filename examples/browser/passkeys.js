// Passkeys: between the service's options and the browser's credentials nothing is converted.

// Whether the browser has them here: over https or at localhost, but under no IP address.
export function canUsePasskeys() {
  const api = globalThis.PublicKeyCredential;
  return Boolean(api?.parseRequestOptionsFromJSON) && !/^(\[|[0-9.]+$)/.test(location.hostname);
}

// The options for logging in with a passkey alone; null where the service has none.
export async function logInOptions(api) {
  try {
    return (await api.request("POST", "/auth/login/passkey/options")).body;
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

export async function getPasskey({ publicKey }, more) {
  const options = PublicKeyCredential.parseRequestOptionsFromJSON(publicKey);
  return (await navigator.credentials.get({ publicKey: options, ...more })).toJSON();
}

export async function createPasskey({ publicKey }) {
  const options = PublicKeyCredential.parseCreationOptionsFromJSON(publicKey);
  return (await navigator.credentials.create({ publicKey: options })).toJSON();
}

// Log in with the passkey that the person shows; returns the account.
export async function logInByPasskey(api, options, credential) {
  try {
    return await api.logInByPasskey(credential);
  } catch (error) {
    if (error.reason === "passkey_unknown") forget(options.publicKey.rpId, credential.id);
    throw error;
  }
}

// The browser removes a passkey that no account has any more, or does not offer it again.
function forget(rpId, credentialId) {
  PublicKeyCredential.signalUnknownCredential?.({ rpId, credentialId })?.catch(() => {});
}

// Offer passkeys among what the browser fills into the field with autocomplete="username webauthn",
// until `signal` is aborted; `first` are options that were not used yet, if any. Returns {options,
// credential} when the person picks one, else null.
export async function awaitPasskey(api, signal, first = null) {
  let unused = first;
  if (!(await PublicKeyCredential.isConditionalMediationAvailable?.())) return null;
  while (!signal.aborted) {
    const options = unused ?? (await logInOptions(api));
    unused = null;
    if (!options || signal.aborted) return null;
    // The prompt stays open for as long as the page: it gets another challenge before the old one ends.
    const renewal = new AbortController();
    const timer = setTimeout(() => renewal.abort(), options.expires_in * 900);
    try {
      const either = AbortSignal.any([signal, renewal.signal]);
      const credential = await getPasskey(options, { mediation: "conditional", signal: either });
      return { options, credential };
    } catch {
      // Nothing was asked for, so that there is nothing to complain of.
      if (!renewal.signal.aborted) return null;
    } finally {
      clearTimeout(timer);
    }
  }
  return null;
}
