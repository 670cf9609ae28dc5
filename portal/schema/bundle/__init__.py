"""Schemas of many functions in one document, such as an OpenAPI document: bundled, named, and portable."""
