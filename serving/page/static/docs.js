// Swagger UI over this server's own description; it asks nobody else, not even for a badge.
SwaggerUIBundle({ url: "openapi.json", dom_id: "#swagger", validatorUrl: null, deepLinking: true });
