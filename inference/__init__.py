"""The LLM engine: continuous batching over llama.cpp. Knows neither Celery nor FastAPI nor Redis."""
