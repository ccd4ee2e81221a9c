"""Text generation behind one interface: `chat(messages, sampling) -> Reply`.

In: a model folder or a server. Out: replies, by vLLM, transformers or an OpenAI-compatible server, batched over
whoever asks.
"""
