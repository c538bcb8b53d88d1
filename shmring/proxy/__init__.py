"""Impaired paths between programs that know nothing of it: UDP proxies."""
