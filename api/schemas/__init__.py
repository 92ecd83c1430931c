"""The models of request bodies, which are validated, and of answers, which the OpenAPI document describes."""
