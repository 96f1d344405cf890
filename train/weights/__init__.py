"""Backbone weights from every published layout."""
