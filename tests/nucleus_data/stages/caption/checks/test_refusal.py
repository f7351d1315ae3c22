import pytest

from nucleus_data.stages.caption.checks.check import Said
from nucleus_data.stages.caption.checks.refusal import Refusal


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I\u2019m sorry, but I can\u2019t assist with that request.",
        "Sorry, I cannot describe this image.",
        "I cannot identify people in images.",
        "I am unable to provide a description of this picture.",
        "Unfortunately, I can't see the image you mention.",
        "As an AI language model, I don't have eyes.",
        "I don't see an image attached. Please upload the image.",
        "There is no image provided.",
        "A man in a suit. I'm sorry, but I can't identify the person.",
        "I apologize, but I am not able to fulfill this request.",
        "I must decline.",
        "Es tut mir leid, aber ich kann dabei nicht helfen.",
        "Leider kann ich dieses Bild nicht beschreiben.",
        "Je suis désolé, mais je ne peux pas décrire cette image.",
        "Lo siento, pero no puedo ayudar con eso.",
        "Desculpe, mas não posso descrever esta imagem.",
        "Mi dispiace, ma non posso aiutarti.",
        "Het spijt me, maar ik kan deze afbeelding niet beschrijven.",
        "Извините, но я не могу помочь с этим.",
        "Przepraszam, ale nie mogę w tym pomóc.",
        "抱歉，我无法协助处理这个请求。",
        "对不起，我不能描述这张图片。",
        "申し訳ありませんが、この画像について説明することはできません。",
        "죄송하지만 이 이미지를 설명할 수 없습니다.",
        "عذراً، لا أستطيع وصف هذه الصورة.",
        "Xin lỗi, tôi không thể mô tả hình ảnh này.",
        "Üzgünüm, bu konuda yardımcı olamam.",
    ],
)
def test_declined(text):
    assert Refusal().find(Said(text))


@pytest.mark.parametrize(
    "text",
    [
        "A sign that says 'sorry, closed'.",
        'A shop door with a note: "Sorry, I can\'t help you today".',
        "Sorry, closed",
        "I'm sorry card with a teddy bear",
        "I'll describe this image for you. . The background is brown.",
        "The image is about . The background is brown.",
        "Let's talk, says the poster",
        "I can't believe it's not butter, a tub on a table",
        "A T-shirt with the words I can't even",
        "A dog that cannot see its tail",
        "The man is unable to open the door.",
        "There is no picture on the wall, only a nail.",
        "There is no one in the image.",
        "A robot, as an AI would draw it",
        "Please provide identification, says a sign at a gate",
        "Please keep off the grass",
        "I see a red ring on the left",
        "Leider geschlossen, ein Schild an der Tür",
        "Désolé, fermé",
        "对不起 (a song's cover)",
        "a red circle",
    ],
)
def test_signs_and_jokes_are_no_refusals(text):
    assert Refusal().find(Said(text)) is None


@pytest.mark.parametrize(
    "text",
    [
        "Your request conflicts with my usage policies.",
        "Let's change the subject.",
        "I'd prefer to talk about something else.",
        "The picture is too blurry to describe.",
        "画像を見ることができないため、説明できません。",
        "이 요청은 도와드릴 수 없습니다.",
        "Omlouvám se, ale tento obrázek nemohu popsat.",
        "It's not possible for me to caption what you sent.",
        "The image failed to load, so I can't describe it.",
        "I'd rather not describe this.",
        "I'm a text-only assistant and see nothing.",
        "Nothing was uploaded. Please try again.",
        "I have safety rules that keep me from describing this.",
        "This image is too blurry for me to describe.",
        "A red ring. Due to privacy concerns, I am unable to describe more.",
        "Je ne peux pas décrire cette photo.",
        "Ich bin leider nicht in der Lage, dieses Bild zu beschreiben.",
        "Dabei kann ich leider nicht behilflich sein.",
        "Il m'est impossible de décrire cette image.",
        "No me es posible describir esta fotografía.",
        "Não me é possível descrever a imagem.",
        "Non mi è possibile descrivere la foto.",
        "Простите, но я не вижу изображения.",
        "画像が見つかりません。もう一度アップロードしてください。",
        "图片无法显示，请重新上传。",
        "이 사진을 설명할 수 없습니다.",
    ],
)
def test_refusals_by_their_kind(text):
    assert Refusal().find(Said(text))


@pytest.mark.parametrize(
    "text",
    [
        "Da kann ich mich ausruhen, steht auf der Bank.",
        "Das Schild sagt, dass man hier nicht parken kann.",
        "画像の中央に赤い円があります。",
        "사진을 찍는 남자가 있습니다.",
        "图片中有一只猫。",
    ],
)
def test_captions_in_other_languages_are_no_refusals(text):
    assert Refusal().find(Said(text)) is None
