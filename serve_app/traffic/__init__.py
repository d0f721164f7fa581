"""Invented users: what a scenario says that they do, drawn at random and sent to the service.

scenario    what the files say            population    who asks what, and what they say of answers
images    what they photograph          player   all of it, over HTTP
"""
