"""All wire models: what requests may say, and what answers look like in the OpenAPI document."""
