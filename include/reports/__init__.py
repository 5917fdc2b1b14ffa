"""The geo analyses as pictures: pages of HTML that need nothing else, and PNG. Plain rows in, text and bytes out."""
