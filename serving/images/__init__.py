"""Images in requests: files and JSON become arrays of pixels."""
