"""Administration over the API: projects, things, people, grants, certificates, and the audit of it."""
