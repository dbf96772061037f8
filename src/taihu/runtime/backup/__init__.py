"""Backups of a site: made while its node runs, in pieces that are kept once; and put into a folder of their own."""
