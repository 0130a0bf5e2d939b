"""What is done on a host: one module a role says which items it wants; the worker observes, decides and acts."""
