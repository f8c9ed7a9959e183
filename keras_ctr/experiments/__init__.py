"""Recipes, their runs, studies made of runs, and pictures of both."""
