"""The contest's folders, lists, crops and patch files."""
