"use strict";

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
function keepTokens(response) {
  const tokens = response.ok && response.obj;
  if (tokens && tokens.access_token) {
    ui.preauthorizeApiKey("accessToken", tokens.access_token);
    if (tokens.refresh_token) {
      ui.preauthorizeApiKey("refreshToken", tokens.refresh_token);
    }
    ui.authActions.persistAuthorizationIfNeeded();
    document.getElementById("signed-in").textContent = "You are signed in.";
  }
  return response;
}

const ui = SwaggerUIBundle({
  dom_id: "#swagger-ui",
  url: "/openapi.json",
  deepLinking: true,
  displayRequestDuration: true,
  persistAuthorization: true,
  tryItOutEnabled: true,
  responseInterceptor: (response) => keepTokens(callThisHost(response)),
  validatorUrl: null,
});
