// Shows the OpenAPI document, without requests to other hosts.

fetch("/api/rest/customer/v1/openapi.json")
  .then((response) => response.json())
  .then((description) => {
    window.ui = SwaggerUIBundle({
      spec: simplify(description),
      dom_id: "#viewer",
      plugins: [additions],
      filter: true,
      deepLinking: true,
      defaultModelsExpandDepth: -1,
      displayRequestDuration: true,
      validatorUrl: null,
    });
  });
