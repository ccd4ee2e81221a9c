"""Agents that talk about a question, and logs of debates that were held elsewhere.

In: questions and `chat`. Out: debates, every message in them. A protocol is a coroutine a page long.
"""
