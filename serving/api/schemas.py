"""The schemas of /openapi.json: what goes in and comes out, for people and for generators of clients."""

from typing import Any

Json = dict[str, Any]

ABOUT = (
    "Classify images. The native face is POST /predict; the same model answers TensorFlow Serving's REST protocol "
    "under /v1 and the Open Inference Protocol under /v2. Where API keys are set, POST needs one."
)
SECURITY: Json = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}

_IMAGE: Json = {
    "description": "Rows of pixels, whole numbers from 0 to 255; of colours, each pixel is a list. "
    "Or an image file as a data URL: data:image/png;base64,...",
    "type": ["array", "string"],
    "items": {"type": "array", "items": {}},
}
_FILE: Json = {"type": "string", "format": "binary"}
_OBJECT: Json = {"type": "object"}
_WORD: Json = {"type": "string"}
_SHARE: Json = {"type": "number", "minimum": 0, "maximum": 1}

PREDICT: Json = {
    "multipart/form-data": {"type": "object", "properties": {"image": {"type": "array", "items": _FILE}}},
    **{f"image/{kind}": _FILE for kind in ("png", "jpeg", "gif", "bmp", "webp", "tiff")},
    "application/json": {
        "oneOf": [
            {"type": "object", "required": ["image"], "properties": {"image": _IMAGE}},
            {"type": "object", "required": ["images"], "properties": {"images": {"type": "array", "items": _IMAGE}}},
        ]
    },
    "application/octet-stream": _FILE,
}
INSTANCES: Json = {
    "application/json": {
        "oneOf": [
            {"type": "object", "required": ["instances"], "properties": {"instances": {"type": "array", "items": {}}}},
            {"type": "object", "required": ["inputs"], "properties": {"inputs": {}}},
        ]
    }
}
INFER: Json = {
    "application/json": {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": _WORD,
            "inputs": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name", "shape", "datatype"],
                    "properties": {
                        "name": _WORD,
                        "shape": {"type": "array", "items": {"type": "integer"}},
                        "datatype": _WORD,
                        "data": {"type": "array", "items": {}},
                    },
                },
            },
        },
    }
}


def switch(name: str, meaning: str, default: int) -> Json:
    """A query parameter that is 0 or 1."""
    schema = {"type": "integer", "enum": [0, 1], "default": default}
    return {"name": name, "in": "query", "description": meaning, "schema": schema}


COMPONENTS: dict[str, Json] = {
    "Prediction": {
        "type": "object",
        "required": ["label", "index", "probability", "top", "probabilities"],
        "properties": {
            "label": _WORD,
            "index": {"type": "integer"},
            "probability": _SHARE,
            "top": {
                "type": "array",
                "items": {"type": "object", "properties": {"label": _WORD, "probability": _SHARE}},
            },
            "probabilities": {"type": "object", "additionalProperties": _SHARE},
            "file": {**_WORD, "description": "Its name, where the image came as a file of a form."},
            "converted": {**_WORD, "description": "What was done to make it fit, where something was."},
            "preprocessing": {
                **_WORD,
                "description": "What was done to a picture on a light background to make it look like the training "
                "images, where something was.",
            },
            "in_distribution": {"type": "boolean", "description": "Whether it looks like the training images."},
            "distribution_score": {"type": "number", "description": "How strange it is; up to 1 is familiar."},
            "note": {**_WORD, "description": "What else to know of the image."},
            "pixels": {**_WORD, "contentEncoding": "base64", "description": "What the model saw; on request."},
        },
    },
    "Predictions": {
        "type": "object",
        "required": ["model", "version", "predictions"],
        "properties": {
            "model": _WORD,
            "version": {"type": "integer"},
            "predictions": {"type": "array", "items": {"$ref": "#/components/schemas/Prediction"}},
        },
    },
    "Problem": {
        "description": "Problem details (RFC 9457).",
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {"type": _WORD, "title": _WORD, "status": {"type": "integer"}, "detail": _WORD},
    },
    "Error": {"type": "object", "required": ["error"], "properties": {"error": _WORD}},
    "Object": _OBJECT,
}
