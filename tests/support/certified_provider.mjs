// A certified OpenID provider with one client, which has pages for signing in and for agreeing.
// Arguments: the port, then the client's id, secret and redirect URI. Runs beside `node_modules`.

import { generateKeyPairSync } from "node:crypto";
import { Provider } from "oidc-provider";

const [port, client_id, client_secret, redirect_uri] = process.argv.slice(2);
const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const key = { ...privateKey.export({ format: "jwk" }), use: "sig", alg: "RS256", kid: "one" };

const provider = new Provider(`http://localhost:${port}`, {
  clients: [
    { client_id, client_secret, redirect_uris: [redirect_uri], response_types: ["code"] },
  ],
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
  cookies: { keys: ["of one test"] },
  features: { devInteractions: { enabled: true } },
  jwks: { keys: [key] },
  pkce: { required: () => true },
  responseTypes: ["code"],
  findAccount: (_context, sub) => ({
    accountId: sub,
    claims: () => ({ sub, name: sub, email: `${sub}@example.com`, email_verified: true }),
  }),
});
provider.on("grant.error", (_context, error) => console.log(`refused: ${error.error_detail}`));
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
