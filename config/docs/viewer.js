// Shows the description; nothing is asked of any other host.
window.ui = SwaggerUIBundle({
  url: "/api/rest/customer/v1/openapi.json",
  dom_id: "#viewer",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  validatorUrl: null,
});
