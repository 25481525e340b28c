"""Tasks as integers, spread over ranks; nothing here knows of quantum circuits."""
