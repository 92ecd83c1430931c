"""The LLM engine: continuous batching over llama.cpp. It knows neither Celery nor FastAPI nor Redis."""
