"""Generated traffic: a scenario is read, its users and requests are drawn, and sent over HTTP.

scenario    the scenario files            population    the random users, requests and feedback
images      the images that are sent      runner        the HTTP clients
"""
