"""Changes of rows, put into tables of what is and of what was."""
