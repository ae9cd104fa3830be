"""Decides what the fleet should hold. Pure: `reconciler` reads the world and applies the plan."""
