// Passkeys: between the service's options and the browser's credentials nothing is converted.

// Whether the browser has them here: over https or at localhost, but under no IP address.
export function canUsePasskeys() {
  const api = globalThis.PublicKeyCredential;
  return Boolean(api?.parseRequestOptionsFromJSON) && !/^(\[|[0-9.]+$)/.test(location.hostname);
}

// The options for logging in with a passkey alone; null where the service has none.
export async function logInOptions(api) {
  try {
    return await api.request("POST", "/auth/login/passkey/options");
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

export async function getPasskey({ publicKey }, more) {
  const options = PublicKeyCredential.parseRequestOptionsFromJSON(publicKey);
  return (await navigator.credentials.get({ publicKey: options, ...more })).toJSON();
}

// Log in with the passkey that the person shows.
export async function logInByPasskey(api) {
  const options = await logInOptions(api);
  const credential = await getPasskey(options);
  try {
    await api.logInByPasskey(credential);
  } catch (error) {
    if (error.reason === "passkey_unknown") forget(options.publicKey.rpId, credential.id);
    throw error;
  }
}

// The browser removes a passkey that no account has any more, or does not offer it again.
function forget(rpId, credentialId) {
  PublicKeyCredential.signalUnknownCredential?.({ rpId, credentialId })?.catch(() => {});
}
