"""The OpenAPI document, and the page on which every operation can be tried."""
