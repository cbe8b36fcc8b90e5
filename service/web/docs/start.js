"use strict";

const signedIn = document.getElementById("signed-in");
const secondFactor = document.getElementById("second-factor");
let loginToken = "";

// The service that shows this page is called, whatever address the document has for others.
function callThisHost(response) {
  if (new URL(response.url).pathname === "/openapi.json" && response.ok) {
    const described = JSON.parse(response.text);
    described.servers = [{ url: location.origin }];
    response.text = JSON.stringify(described);
  }
  return response;
}

// The tokens of a successful login authenticate all later calls.
function keepTokens(tokens) {
  if (!tokens || !tokens.access_token) {
    return;
  }
  ui.preauthorizeApiKey("accessToken", tokens.access_token);
  if (tokens.refresh_token) {
    ui.preauthorizeApiKey("refreshToken", tokens.refresh_token);
  }
  ui.authActions.persistAuthorizationIfNeeded();
  endLogin();
  signedIn.textContent = "You are signed in.";
}

function endLogin() {
  loginToken = "";
  secondFactor.hidden = true;
  secondFactor.reset();
}

// A login to an account with a second factor waits for a code.
function askForCode(token) {
  loginToken = token;
  signedIn.textContent = "Type the code of your authenticator app, or a recovery code.";
  secondFactor.hidden = false;
  secondFactor.elements.code.focus();
}

function readLogin(response) {
  const body = response.obj;
  if (response.ok) {
    keepTokens(body);
  } else if (body && body.reason === "second_factor_required" && body.login_token) {
    askForCode(body.login_token);
  }
  return response;
}

async function showCode() {
  const typed = secondFactor.elements.code.value;
  const isCode = /^[0-9]{6}$/.test(typed.replace(/\s/g, ""));
  const proof = isCode ? { code: typed } : { recovery_code: typed };
  const response = await fetch("/auth/login/second-factor", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ login_token: loginToken, ...proof }),
  });
  const body = await response.json();
  if (response.ok) {
    keepTokens(body);
    return;
  }
  if (body.reason === "login_expired") {
    endLogin();
  }
  signedIn.textContent = body.message;
}

secondFactor.addEventListener("submit", (event) => {
  event.preventDefault();
  showCode().catch(() => {
    signedIn.textContent = "The service does not answer; try again.";
  });
});

// Logins are kept over a reload; an API key, which is good for months, is not.
function keepLogins(_original, system) {
  return () => {
    const kept = system.authSelectors.authorized().toJS();
    delete kept.apiKey;
    localStorage.setItem("authorized", JSON.stringify(kept));
  };
}

const ui = SwaggerUIBundle({
  dom_id: "#swagger-ui",
  url: "/openapi.json",
  deepLinking: true,
  displayRequestDuration: true,
  persistAuthorization: true,
  plugins: [{ statePlugins: { auth: { wrapActions: { persistAuthorizationIfNeeded: keepLogins } } } }],
  tryItOutEnabled: true,
  responseInterceptor: (response) => readLogin(callThisHost(response)),
  validatorUrl: null,
});
