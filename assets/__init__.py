"""The pipelines of this project, one module a subject. Yours go here, too."""
