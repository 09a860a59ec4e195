"""Pictures and reports of a scene, drawn without a GPU or a display."""
