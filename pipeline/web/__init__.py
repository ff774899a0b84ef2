"""What a running site shows over HTTP; everything here only reads."""
