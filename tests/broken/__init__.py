"""Deliberately broken plugins, one for each check of the conformance kit, importable by worker processes.

Each file has a sound plugin and, made from it, plugins that break one promise each: ``BROKEN`` names the check that is
to catch it, and that check alone.
"""
