"""The service described in OpenAPI's words. A test asks for all that it says, and more."""
