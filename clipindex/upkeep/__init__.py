"""Changes to existing collections: tags, new paths, copies, exports."""
